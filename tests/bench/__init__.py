"""`make bench`: how long a start takes here, beside a bare pod and stock KubeSpawner; what de-identification and the door cost.

Every figure is a ratio to something that ran in the same run, on the same machine, by the same clock. Nothing is judged:
the figures are for people.
"""
