"""`python -m zosnet` is the same as `zosnet`."""

from zosnet.cli.main import run

if __name__ == "__main__":
    run()
