"""What the tasks share to train their models: torch only, never imported on a device."""
