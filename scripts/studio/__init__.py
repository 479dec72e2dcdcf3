"""What photographs an artist's scene: cameras around it, and Mitsuba's paths as their film."""
