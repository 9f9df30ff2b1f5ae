# The de-identifier of one project: key material for five fixed purposes, version 1, and wrapping of new warehouse keys.
# The inputs are base64 of rr/deid/v1/{patient,uid,date,code,centre}: no identifier can be sent, nothing else can be drawn.
# `key_version` is compared as text, and a batch has no `input`: both the number 1 and a batch are refused. An empty text
# would pass for a list without members, all of which are allowed, and an empty version means the latest: so it is denied.
path "rr-pseudonym/hmac/${project}/sha2-256" {
  capabilities = ["update"]
  required_parameters = ["input", "key_version"]
  denied_parameters = {
    "input" = [""]
    "key_version" = [""]
  }
  allowed_parameters = {
    "input" = [
      "cnIvZGVpZC92MS9wYXRpZW50",
      "cnIvZGVpZC92MS91aWQ=",
      "cnIvZGVpZC92MS9kYXRl",
      "cnIvZGVpZC92MS9jb2Rl",
      "cnIvZGVpZC92MS9jZW50cmU="
    ]
    "key_version" = ["1"]
  }
}

# `update` alone: with `create`, encrypting under an unknown name would make a new key.
path "rr-envelope/encrypt/${project}-data" {
  capabilities = ["update"]
  allowed_parameters = {
    "plaintext" = []
    "associated_data" = []
  }
}
