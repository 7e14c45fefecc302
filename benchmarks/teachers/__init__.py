"""What two teachers of a language model with adapters take of a process's memory."""
