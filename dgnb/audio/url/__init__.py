"""What is read over http: `URLSource`, in `source.py`."""
