{{/*
What all templates share. A service is one dict, made here of three places: what it is (files/services.yaml), what it has
(values.yaml), and whom it calls (files/call-graph.yaml).
*/}}

{{/* The port of every service for its peers; the binaries look for each other there. */}}
{{- define "tiffin.meshPort" -}}4000{{- end }}

{{/* The port of health and metrics. */}}
{{- define "tiffin.adminPort" -}}5000{{- end }}

{{/* Where the files of a pod are: `mesh` its certificate, `authorities` whom it trusts for stores. */}}
{{- define "tiffin.folder" -}}/etc/tiffin{{- end }}

{{/* Where a service listens for its peers: behind a sidecar for that alone. */}}
{{- define "tiffin.meshAddress" -}}
{{- if eq .Values.tls "mutual" }}{{ .Values.listenAddress }}{{ else }}{{ include "tiffin.loopback" . }}{{ end }}:{{ include "tiffin.meshPort" . }}
{{- end }}
{{- define "tiffin.loopback" -}}{{ hasPrefix "[" .Values.listenAddress | ternary "[::1]" "127.0.0.1" }}{{- end }}

{{/* The namespace and trust domain that the binaries know; an identity of another one is nobody to them. */}}
{{- define "tiffin.namespace" -}}tiffin{{- end }}
{{- define "tiffin.spiffe" -}}spiffe://tiffin.local/ns/{{ include "tiffin.namespace" . }}/sa/{{- end }}

{{/* The names of the services that run, as a JSON list. */}}
{{- define "tiffin.names" -}}
{{- $names := list }}
{{- range $name, $what := .Files.Get "files/services.yaml" | fromYaml }}
{{- $block := get $.Values.services $name | default dict }}
{{- if dig "enabled" true $block }}{{ $names = append $names $name }}{{ end }}
{{- end }}
{{- toJson ($names | sortAlpha) }}
{{- end }}

{{/* A service by its name, as JSON: (list root name). */}}
{{- define "tiffin.service" -}}
{{- $root := index . 0 }}
{{- $name := index . 1 }}
{{- $what := get ($root.Files.Get "files/services.yaml" | fromYaml) $name }}
{{- $block := get $root.Values.services $name | default dict }}
{{- $service := mustMergeOverwrite (deepCopy $root.Values.serviceDefaults) (deepCopy $block) }}
{{- $service = mustMerge $service (deepCopy $what) (dict "name" $name "listens" "TIFFIN_MESH_LISTEN" "fixed" dict "secrets" dict "migrates" dict) }}
{{- $_ := set $service "database" ($name | replace "-" "_") }}
{{- $_ := set $service "credentials" (print $name $root.Values.credentials.secretSuffix) }}
{{- $_ := set $service "owner" (print $name $root.Values.credentials.ownerSecretSuffix) }}
{{- toJson $service }}
{{- end }}

{{/* Whom a service calls, of those that run, as a JSON list: (list root name). */}}
{{- define "tiffin.callees" -}}
{{- $root := index . 0 }}
{{- $names := include "tiffin.names" $root | fromJsonArray }}
{{- $callees := list }}
{{- range $callee, $why := get ($root.Files.Get "files/call-graph.yaml" | fromYaml) (index . 1) | default dict }}
{{- if has $callee $names }}{{ $callees = append $callees $callee }}{{ end }}
{{- end }}
{{- toJson ($callees | sortAlpha) }}
{{- end }}

{{/* Who calls a service, of those that run and the ingress, as a JSON list: (list root name). */}}
{{- define "tiffin.callers" -}}
{{- $root := index . 0 }}
{{- $name := index . 1 }}
{{- $names := append (include "tiffin.names" $root | fromJsonArray) "ingress" }}
{{- $callers := list }}
{{- range $caller, $callees := $root.Files.Get "files/call-graph.yaml" | fromYaml }}
{{- if and (has $caller $names) (hasKey $callees $name) }}{{ $callers = append $callers $caller }}{{ end }}
{{- end }}
{{- toJson ($callers | sortAlpha) }}
{{- end }}

{{/* By what a service's pods are found: (list name component). */}}
{{- define "tiffin.selector" -}}
app.kubernetes.io/name: {{ index . 0 }}
app.kubernetes.io/component: {{ index . 1 }}
app.kubernetes.io/part-of: tiffin
{{- end }}

{{/* All labels of an object: (list root name component). */}}
{{- define "tiffin.labels" -}}
{{- $root := index . 0 }}
{{- include "tiffin.selector" (rest .) }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
helm.sh/chart: {{ $root.Chart.Name }}-{{ $root.Chart.Version }}
{{- end }}

{{- define "tiffin.image" -}}
{{- with .Values.image }}
{{- .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{/* What every pod of ours is allowed, which is nothing. */}}
{{- define "tiffin.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "tiffin.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* Whether a service speaks to stores over TLS, or mails, and so needs their authorities. Empty: no. */}}
{{- define "tiffin.trusts" -}}
{{- $root := index . 0 }}
{{- $service := index . 1 }}
{{- if and $root.Values.authorities.configMap (or (has "postgres" $service.needs) (has "nats" $service.needs) (has "redis" $service.needs)) }}yes{{ end }}
{{- end }}

{{/* A database as a URL: (list root service role). The password is expanded by Kubernetes, from the variable before it. */}}
{{- define "tiffin.postgresUrl" -}}
{{- $root := index . 0 }}
{{- $service := index . 1 }}
{{- with $root.Values.postgres -}}
postgres://{{ index $ 2 }}:$(POSTGRES_PASSWORD)@{{ .host }}:{{ .port }}/{{ $service.database }}?sslmode={{ .sslmode }}
{{- if and (ne .sslmode "disable") $root.Values.authorities.configMap }}&sslrootcert={{ include "tiffin.folder" $root }}/authorities/ca.crt{{ end }}
{{- end }}
{{- end }}

{{/* One variable out of a Secret: (list variable secret key). */}}
{{- define "tiffin.secret" -}}
- name: {{ index . 0 }}
  valueFrom:
    secretKeyRef:
      name: {{ index . 1 }}
      key: {{ index . 2 }}
{{- end }}

{{/* One variable: (list name value). Numbers come as floats out of JSON. */}}
{{- define "tiffin.variable" -}}
- name: {{ index . 0 }}
  value: {{ index . 1 | toString | quote }}
{{- end }}

{{/* Public authorities stay trusted beside those of the stores. Read by the TLS library. */}}
{{- define "tiffin.authorities" -}}
{{- include "tiffin.variable" (list "SSL_CERT_DIR" (printf "/etc/ssl/certs:%s/authorities" (include "tiffin.folder" .))) }}
{{- end }}

{{/* The payment provider as a host of the cluster. Empty: its stand-in, which is one of the services. */}}
{{- define "tiffin.paymentsHost" -}}
{{- $service := include "tiffin.service" (list . "basket-master") | fromJson }}
{{- $host := get $service.settings "TIFFIN_PAYMENTS_URL" | trimPrefix "https://" | splitList ":" | first | trimSuffix ".cluster.local" }}
{{- if not (contains "." $host) }}{{ $host = printf "%s.%s.svc" $host (include "tiffin.namespace" .) }}{{ end }}
{{- if ne $host (printf "sandbox-payments.%s.svc" (include "tiffin.namespace" .)) }}{{ $host }}{{ end }}
{{- end }}

{{/* Everything that `serve` is told: (list root service). */}}
{{- define "tiffin.env" -}}
{{- $root := index . 0 }}
{{- $service := index . 1 }}
{{- $values := $root.Values }}
{{ include "tiffin.variable" (list $service.listens (include "tiffin.meshAddress" $root)) }}
{{ include "tiffin.variable" (list "TIFFIN_ADMIN_LISTEN" (printf "%s:%s" $values.listenAddress (include "tiffin.adminPort" $root))) }}
{{ include "tiffin.variable" (list "TIFFIN_TLS" $values.tls) }}
{{- if eq $values.tls "mutual" }}
{{ include "tiffin.variable" (list "TIFFIN_TLS_DIR" (print (include "tiffin.folder" $root) "/mesh")) }}
{{- end }}
{{ include "tiffin.variable" (list "TIFFIN_LOG" $values.log) }}
{{ include "tiffin.variable" (list "TOKIO_WORKER_THREADS" ($service.threads | int64)) }}
{{- if include "tiffin.trusts" (list $root $service) }}
{{ include "tiffin.authorities" $root }}
{{- end }}
{{- if has "platform" $service.needs }}
{{ include "tiffin.variable" (list "TIFFIN_REGION" $values.region) }}
{{- /* Business time is real time in a cluster, so this is no value. */}}
{{ include "tiffin.variable" (list "TIFFIN_CLOCK_RATE" 1) }}
{{- end }}
{{- if has "consistency" $service.needs }}
{{ include "tiffin.secret" (list "TIFFIN_CONSISTENCY_SECRET" $values.credentials.platformSecret "consistency") }}
{{- end }}
{{- if has "jwt" $service.needs }}
{{ include "tiffin.variable" (list "TIFFIN_JWT_ISSUER" $values.jwt.issuer) }}
{{ include "tiffin.variable" (list "TIFFIN_JWT_AUDIENCE" $values.jwt.audience) }}
{{- end }}
{{- if has "keys" $service.needs }}
{{ include "tiffin.variable" (list "TIFFIN_SIGNING_KEY_PERIOD_S" ($values.jwt.keyPeriodSeconds | int64)) }}
{{ include "tiffin.variable" (list "TIFFIN_SIGNING_KEY_LEAD_S" ($values.jwt.keyLeadSeconds | int64)) }}
{{- end }}
{{- if has "postgres" $service.needs }}
{{ include "tiffin.secret" (list "POSTGRES_PASSWORD" $service.credentials "postgres-password") }}
{{ include "tiffin.variable" (list "TIFFIN_POSTGRES_URL" (include "tiffin.postgresUrl" (list $root $service $service.database))) }}
{{- end }}
{{- if has "nats" $service.needs }}
{{ include "tiffin.variable" (list "TIFFIN_AUDIT_PERIOD_S" ($values.auditPeriodSeconds | int64)) }}
{{ include "tiffin.variable" (list "TIFFIN_NATS_URL" (printf "%s://%s:%d" (ternary "tls" "nats" $values.nats.tls) $values.nats.host ($values.nats.port | int64))) }}
{{ include "tiffin.variable" (list "TIFFIN_NATS_USER" $service.name) }}
{{ include "tiffin.secret" (list "TIFFIN_NATS_PASSWORD" $service.credentials "nats-password") }}
{{- end }}
{{- if has "redis" $service.needs }}
{{ include "tiffin.secret" (list "REDIS_PASSWORD" $service.credentials "redis-password") }}
{{ include "tiffin.variable" (list "TIFFIN_REDIS_URL" (printf "%s://%s:$(REDIS_PASSWORD)@%s:%d/0" (ternary "rediss" "redis" $values.redis.tls) $service.name $values.redis.host ($values.redis.port | int64))) }}
{{- end }}
{{- range $name, $value := mustMerge $service.fixed $service.settings }}
{{ include "tiffin.variable" (list $name (kindIs "string" $value | ternary $value ($value | int64))) }}
{{- end }}
{{- range $name, $from := $service.secrets }}
{{- if or (not $from.onlyWith) (get $service.settings ($from.onlyWith | default "")) }}
{{ include "tiffin.secret" (list $name $service.credentials $from.key) }}
{{- end }}
{{- end }}
{{- end }}

{{/* Rules that span several values. Each says what to change. */}}
{{- define "tiffin.validate" -}}
{{- if ne .Release.Namespace (include "tiffin.namespace" .) }}
{{- fail (printf "the namespace must be %s: identities of another one are nobody to the services" (include "tiffin.namespace" .)) }}
{{- end }}
{{- if and (eq .Values.certificates.from "certManager") (not .Values.certificates.issuer.name) }}
{{- fail "certificates.issuer.name is required when certificates.from is certManager" }}
{{- end }}
{{- if ge (.Values.certificates.renewBefore | trimSuffix "h" | int) (.Values.certificates.duration | trimSuffix "h" | int) }}
{{- fail "certificates.renewBefore must be shorter than certificates.duration" }}
{{- end }}
{{- if gt (.Values.jwt.keyLeadSeconds | int64) (.Values.jwt.keyPeriodSeconds | int64) }}
{{- fail "jwt.keyLeadSeconds must not be longer than jwt.keyPeriodSeconds" }}
{{- end }}
{{- if not .Values.plaintextStores }}
{{- if eq .Values.postgres.sslmode "disable" }}{{ fail "postgres.sslmode must not be disable unless plaintextStores is true" }}{{ end }}
{{- if not .Values.nats.tls }}{{ fail "nats.tls must be true unless plaintextStores is true" }}{{ end }}
{{- if not .Values.redis.tls }}{{ fail "redis.tls must be true unless plaintextStores is true" }}{{ end }}
{{- end }}
{{- range $name := include "tiffin.names" . | fromJsonArray }}
{{- $service := include "tiffin.service" (list $ $name) | fromJson }}
{{- if and $service.autoscaling.enabled (lt ($service.autoscaling.maxReplicas | int64) ($service.replicas | int64)) }}
{{- fail (printf "services.%s: autoscaling.maxReplicas is below replicas" $name) }}
{{- end }}
{{- end }}
{{- $payments := include "tiffin.paymentsHost" . }}
{{- if and (eq .Values.tls "sidecar") $payments (not (regexMatch "^[a-z0-9-]+[.][a-z0-9-]+[.]svc$" $payments)) }}
{{- fail "services.basket-master: with tls: sidecar, TIFFIN_PAYMENTS_URL must name a Service of the cluster: what is not in the mesh would be asked in the clear" }}
{{- end }}
{{- if and (hasPrefix "/" (dig "notifier" "settings" "TIFFIN_SMTP_CA_FILE" "" .Values.services)) (not .Values.authorities.configMap) }}
{{- fail "services.notifier: TIFFIN_SMTP_CA_FILE needs authorities.configMap" }}
{{- end }}
{{- end }}
