"""What a person sees while a verb runs: messages, tables, bars, panels."""
