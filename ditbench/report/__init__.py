"""Reporting: run directories to tables and figures. Torch-free and cheap to import."""
