"""What trainers read: a module per format, from rows or documents to files."""
