"""What makes a job of a verb: its words and settings, what is sent, what the nodes are asked, its driver."""
