# What HALCYON's registry needs of Vault or OpenBao, with the default mounts and prefix, and nothing else.

# Values: written, read, and destroyed for good.
path "secret/data/halcyon/*" {
  capabilities = ["create", "read", "update"]
}
path "secret/metadata/halcyon/*" {
  capabilities = ["read", "delete"]
}
path "secret/destroy/halcyon/*" {
  capabilities = ["update"]
}

# Only with `registry.secrets.key_wrapping = "transit"`.
path "transit/encrypt/halcyon" {
  capabilities = ["update"]
}
path "transit/decrypt/halcyon" {
  capabilities = ["update"]
}
