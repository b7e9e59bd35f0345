# The same as the commands of dev.py, for those whose fingers type make.
.PHONY: demo test controlplane bench soak

demo test controlplane soak:
	python3 dev.py $@

bench:
	python3 dev.py bench
