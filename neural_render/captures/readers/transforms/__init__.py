"""Readers of transforms JSON files: Blender's pair, and instant-ngp's and nerfstudio's one."""
