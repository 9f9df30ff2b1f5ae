# The database: its serving certificate.
path "rr-pki/sign/database" {
  capabilities = ["update"]
  allowed_parameters = {
    "csr" = []
  }
}
