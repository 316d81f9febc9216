"""Where the work is done: on this machine, on Flink, on Prism, on Dataflow."""
