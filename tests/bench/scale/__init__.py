"""The scale plan: throughput, queue, storage and cost, simulated from `policies/scale/plan.yaml`. `make plan` writes the page."""
