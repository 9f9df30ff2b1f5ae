# The hub of one project: its own cookie, sign-in state, proxy and client keys. Another project's stay shut.
path "rr-kv/data/projects/${project}/hub" {
  capabilities = ["read"]
}

path "rr-kv/data/projects/${project}/oidc" {
  capabilities = ["read"]
}
