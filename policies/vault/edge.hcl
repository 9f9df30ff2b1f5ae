# The edge of one project: a certificate for the project's host name, from a request made in the pod.
path "rr-pki/sign/edge-${project}" {
  capabilities = ["update"]
  allowed_parameters = {
    "csr" = []
  }
}
