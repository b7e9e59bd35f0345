"""A model server for machines without GPU: a GGUF model, and LoRA adapters merged at their strengths.

Needs `pip install 'kaitoctl[runtime]'` (xllamacpp, gguf, numpy); no other package of kaitoctl
imports these. What an adapter means is decided in `kaitoctl.kaito.adapter_files`.
"""
