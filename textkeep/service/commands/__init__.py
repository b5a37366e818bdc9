"""The commands of `textkeep`, a file for each topic. They hold no rules: each asks the service, or is it."""
