"""Where nova itself runs: under systemd on this machine."""
