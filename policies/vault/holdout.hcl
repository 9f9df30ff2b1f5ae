# Who splits landing: one key, for one fixed purpose, version 1. The input is base64 of rr/holdout/v1/split; see deid.hcl.
path "rr-pseudonym/hmac/holdout/sha2-256" {
  capabilities = ["update"]
  required_parameters = ["input", "key_version"]
  denied_parameters = {
    "input" = [""]
    "key_version" = [""]
  }
  allowed_parameters = {
    "input" = ["cnIvaG9sZG91dC92MS9zcGxpdA=="]
    "key_version" = ["1"]
  }
}
