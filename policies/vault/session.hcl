# Every principal: lengthen and end its own token. The default policy, which allows much more, is given to nobody.
path "auth/token/renew-self" {
  capabilities = ["update"]
}

path "auth/token/revoke-self" {
  capabilities = ["update"]
}
