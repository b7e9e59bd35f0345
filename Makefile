# The same as the commands of dev.py, for those whose fingers type make.
.PHONY: demo test controlplane bench

demo test controlplane:
	python3 dev.py $@

bench:
	python3 dev.py bench
