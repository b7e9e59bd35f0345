"""A controller library: it knows Kubernetes, and nothing of KAITO."""
