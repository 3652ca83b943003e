# The run matrix: one rule, one record. `snakemake -n` lists what is missing, `snakemake -j 2` makes it, two runs at a time.
#
# A run that was killed goes on from its last checkpoint; a record that is there is not made again. Choose another matrix
# on the command line, for example
#   snakemake -j 4 --config tier=gpu tasks=listops,image mixers=memory,attention seeds=0,1,2
# On a cluster, add an executor plugin: snakemake --executor slurm -j 100 ...

import json
import sys

from cffbook import experiment

TIER = config.get("tier", "cpu")
TASKS = str(config.get("tasks", "listops,text,retrieval,image,pathfinder")).split(",")
MIXERS = str(config.get("mixers", "memory_small,attention,memory,lstm,state_space,linear")).split(",")
SEEDS = [int(seed) for seed in str(config.get("seeds", "0")).split(",")]
OVERRIDES = config.get("overrides", {})  # for example --config 'overrides={"flip_flops": 16, "steps": 500}'
RESULTS, RUNS = config.get("results", "results"), config.get("runs", "runs")

OVERRIDES = {name: experiment.parse(value) if isinstance(value, str) else value for name, value in OVERRIDES.items()}

MATRIX = {
    str(settings.path(RESULTS)): settings
    for task in TASKS
    for mixer in MIXERS
    for seed in SEEDS
    for settings in [experiment.settings(mixer, task, TIER, seed, OVERRIDES)]
}


def parameters(wildcards, output, threads):
    """The notebook's parameters for a record, as JSON (which is YAML)."""
    settings = MATRIX[output.record]
    return json.dumps({
        "task": settings.task, "mixer": settings.row, "tier": settings.tier, "seed": settings.seed, "overrides": OVERRIDES,
        "results": RESULTS, "runs": RUNS, "threads": threads,
    })


rule all:
    input:
        list(MATRIX),


rule record:
    output:
        record=f"{RESULTS}/{{variant}}/{{name}}.json",
    log:
        notebook=f"{RUNS}/notebooks/{{variant}}/{{name}}.ipynb",
    params:
        python=sys.executable,
        parameters=parameters,
    threads: int(config.get("threads", 1))
    shell:
        "{params.python:q} -m papermill notebooks/lra.ipynb {log.notebook:q} --no-progress-bar --kernel python3 -y {params.parameters:q}"
