# The one writer of Vault's settings. Written by the keeper, which needs the unseal share for it; this Job cannot change it.
# It makes keys, policies, roles and first secrets, and reads no secret back: `create` on a secret refuses a second write.
path "sys/mounts" {
  capabilities = ["read"]
}

path "sys/mounts/rr-kv" {
  capabilities = ["create", "update"]
}

path "sys/mounts/rr-pseudonym" {
  capabilities = ["create", "update"]
}

path "sys/mounts/rr-envelope" {
  capabilities = ["create", "update"]
}

path "sys/mounts/rr-pki-root" {
  capabilities = ["create", "update"]
}

path "sys/mounts/rr-pki" {
  capabilities = ["create", "update"]
}

path "sys/mounts/+/tune" {
  capabilities = ["read", "update"]
}

path "sys/policies/acl" {
  capabilities = ["list"]
}

path "sys/policies/acl/rr-*" {
  capabilities = ["create", "read", "update", "delete"]
}

path "sys/policies/acl/rr-configure-vault" {
  capabilities = ["deny"]
}

path "auth/rr-cluster/role" {
  capabilities = ["list"]
}

path "auth/rr-cluster/role/+" {
  capabilities = ["create", "read", "update", "delete"]
}

path "auth/rr-cluster/role/configure-vault" {
  capabilities = ["deny"]
}

path "rr-kv/config" {
  capabilities = ["create", "read", "update"]
}

path "rr-kv/metadata/platform/+" {
  capabilities = ["read"]
}

path "rr-kv/metadata/projects/+/+" {
  capabilities = ["read"]
}

path "rr-kv/data/platform/+" {
  capabilities = ["create"]
}

path "rr-kv/data/projects/+/+" {
  capabilities = ["create"]
}

path "rr-pseudonym/keys/+" {
  capabilities = ["create", "read", "update"]
}

path "rr-envelope/keys/+" {
  capabilities = ["create", "read", "update"]
}

path "rr-pki-root/config/urls" {
  capabilities = ["create", "read", "update"]
}

path "rr-pki/config/urls" {
  capabilities = ["create", "read", "update"]
}

path "rr-pki-root/issuers" {
  capabilities = ["list"]
}

path "rr-pki/issuers" {
  capabilities = ["list"]
}

path "rr-pki-root/root/generate/internal" {
  capabilities = ["create", "update"]
}

path "rr-pki-root/root/sign-intermediate" {
  capabilities = ["create", "update"]
}

path "rr-pki/intermediate/generate/internal" {
  capabilities = ["create", "update"]
}

path "rr-pki/intermediate/set-signed" {
  capabilities = ["create", "update"]
}

path "rr-pki/roles" {
  capabilities = ["list"]
}

path "rr-pki/roles/+" {
  capabilities = ["create", "read", "update", "delete"]
}
