"""`make bench`: how long a start takes here, beside a bare pod and stock KubeSpawner; what the network door costs; and what
de-identification costs, leaks and keeps beside the tools that people use.

Every figure is a ratio to something that ran in the same run, on the same machine, by the same clock. Nothing is judged:
the figures are for people.
"""
