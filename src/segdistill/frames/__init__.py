"""Images, videos and cameras to segment, and the files that are written: overlays, index masks, a legend."""
