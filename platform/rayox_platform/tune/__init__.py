"""Campaigns: many trainings that search settings, planned before they start, kept in a ledger, confirmed at the end."""
