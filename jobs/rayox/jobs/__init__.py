"""Submitted jobs as `rayox runs` and `submit --follow` see them: found, shown, followed, ended."""
