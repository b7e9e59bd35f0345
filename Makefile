# The same as the commands of dev.py, for those whose fingers type make.
.PHONY: demo test controlplane

demo test controlplane:
	python3 dev.py $@
