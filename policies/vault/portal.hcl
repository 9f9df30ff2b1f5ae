# The portal: its own keys, its serving certificate, and the client certificate that the database knows as `portal`.
path "rr-kv/data/platform/portal" {
  capabilities = ["read"]
}

path "rr-pki/sign/portal" {
  capabilities = ["update"]
  allowed_parameters = {
    "csr" = []
  }
}

path "rr-pki/sign/portal-client" {
  capabilities = ["update"]
  allowed_parameters = {
    "csr" = []
  }
}
