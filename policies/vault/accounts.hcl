# The Job that enrols people: the client certificate that the database knows as `portal`. No key of the portal's.
path "rr-pki/sign/portal-client" {
  capabilities = ["update"]
  allowed_parameters = {
    "csr" = []
  }
}
