# The network door: its serving certificate. It has no key of any project.
path "rr-pki/sign/door" {
  capabilities = ["update"]
  allowed_parameters = {
    "csr" = []
  }
}
