"""What phiml mode does in JAX's own terms: surrogates by Equinox, and their training by Optax.

Only `hyco.phiml` calls this, and imports it where it does: neither a run in PyTorch nor `import hyco` needs
JAX.  PhiML itself states the physics, whatever it computes with.
"""
