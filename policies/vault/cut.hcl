# The cut of one project: unwraps the keys of that project's warehouse copies.
path "rr-envelope/decrypt/${project}-data" {
  capabilities = ["update"]
  allowed_parameters = {
    "ciphertext" = []
    "associated_data" = []
  }
}
