"""Relocscope: what turning the MMU and D-cache on bought the arm64 kexec relocation, and why, or why not."""
