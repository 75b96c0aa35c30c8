"""How good the trained models are: scores, figures, animations, and the page that holds them together."""
