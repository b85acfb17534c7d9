# OpenBao for the stack: it unseals itself with the key of a file, and sets itself up at its first start with the least
# that the registry needs (docs/secrets.md). Production should unseal with a key management service instead.

api_addr     = "https://openbao:8200"
cluster_addr = "https://openbao:8201"

storage "raft" {
  path    = "/openbao/file"
  node_id = "openbao"
}

listener "tcp" {
  address       = "0.0.0.0:8200"
  tls_cert_file = "/run/secrets/openbao.crt"
  tls_key_file  = "/run/secrets/openbao.key"
}

seal "static" {
  current_key_id = "1"
  current_key    = "file:///run/secrets/openbao-unseal.key"
}

initialize "halcyon" {
  request "values" {
    operation = "update"
    path      = "sys/mounts/secret"
    data = {
      type    = "kv"
      options = { version = "2" }
    }
  }
  request "transit" {
    operation = "update"
    path      = "sys/mounts/transit"
    data      = { type = "transit" }
  }
  request "transit-key" {
    operation = "update"
    path      = "transit/keys/halcyon"
    data      = { type = "aes256-gcm96" }
  }
  request "policy" {
    operation = "update"
    path      = "sys/policies/acl/halcyon"
    data = {
      policy = {
        eval_type   = "string"
        eval_source = "file"
        path        = "/etc/openbao/policy.hcl"
      }
    }
  }
  request "approle" {
    operation = "update"
    path      = "sys/auth/approle"
    data      = { type = "approle" }
  }
  request "role" {
    operation = "update"
    path      = "auth/approle/role/halcyon"
    data = {
      token_policies = "halcyon"
      token_ttl      = "1h"
      token_max_ttl  = "24h"
    }
  }
  request "role-id" {
    operation = "update"
    path      = "auth/approle/role/halcyon/role-id"
    data = {
      role_id = {
        eval_type   = "string"
        eval_source = "file"
        path        = "/run/secrets/vault-role-id"
      }
    }
  }
  request "secret-id" {
    operation = "update"
    path      = "auth/approle/role/halcyon/custom-secret-id"
    data = {
      secret_id = {
        eval_type   = "string"
        eval_source = "file"
        path        = "/run/secrets/vault-secret-id"
      }
    }
  }
}
