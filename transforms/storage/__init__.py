"""Files and folders by URL, local or on a store: the door of this room."""
