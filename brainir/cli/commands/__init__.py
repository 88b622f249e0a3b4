"""The commands, in modules by what people want to do."""
