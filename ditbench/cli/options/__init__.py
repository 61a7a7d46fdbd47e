"""Options that several commands share, what they mean, and their completion in a shell."""
