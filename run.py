"""The historic spelling of `hyco run`.

python run.py --config-name=burgers.yaml trainer.synthetic.epochs=2
"""

from hyco.cli import historic_main

if __name__ == "__main__":
    historic_main()
