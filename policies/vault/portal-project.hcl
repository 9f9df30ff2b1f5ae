# The portal, once for each open project: the key by which that project's hub proves itself when a person logs in.
path "rr-kv/data/projects/${project}/oidc" {
  capabilities = ["read"]
}
