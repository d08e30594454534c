{{- define "hallpass.name" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "hallpass.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "hallpass.labels" -}}
{{ include "hallpass.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "hallpass.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* The port behind an address. */}}
{{- define "hallpass.port" -}}
{{- regexFind "[0-9]+$" . -}}
{{- end -}}

{{/* Not empty for an address that other pods don't reach. */}}
{{- define "hallpass.isLoopback" -}}
{{- if or (hasPrefix "127." .) (hasPrefix "[::1]:" .) }}yes{{ end -}}
{{- end -}}

{{/* Not empty when there is something to reach from other pods. */}}
{{- define "hallpass.isReachable" -}}
{{- $http := .Values.httpAddress | default "127.0.0.1:0" -}}
{{- if or .Values.sidecars (not (include "hallpass.isLoopback" .Values.grpcAddress)) (not (include "hallpass.isLoopback" $http)) }}yes{{ end -}}
{{- end -}}

{{/* Refuses values that would render something that is open to anybody, or of no use. */}}
{{- define "hallpass.check" -}}
{{- if and .Values.sidecars (include "hallpass.isLoopback" .Values.grpcAddress) (not .Values.trustPod) -}}
{{- if not (and (contains "[callers." .Values.config) (regexMatch "(?m)^\\s*required\\s*=\\s*true" .Values.config)) -}}
{{- fail "sidecars reach hallpass on loopback, and whoever they let in may ask anything: `config` needs [authentication] with `required = true` and the [callers.NAME] that may ask, or set `trustPod: true` where only the pod itself asks" -}}
{{- end -}}
{{- end -}}
{{- if and .Values.serviceMonitor.enabled (not .Values.httpAddress) -}}
{{- fail "serviceMonitor.enabled: metrics are read over HTTP, expected an `httpAddress`" -}}
{{- end -}}
{{- end -}}

{{/* Where probes ask over HTTP; may be empty. */}}
{{- define "hallpass.opsAddress" -}}
{{- if .Values.opsAddress -}}
{{ .Values.opsAddress }}
{{- else if not (include "hallpass.isLoopback" .Values.grpcAddress) -}}
127.0.0.1:9464
{{- end -}}
{{- end -}}

{{/* The command of a probe: a list of the values, the path over HTTP, and further arguments. */}}
{{- define "hallpass.health" -}}
{{- $root := index . 0 -}}
{{- $ops := include "hallpass.opsAddress" $root -}}
{{- $address := $root.Values.grpcAddress -}}
{{- if $root.Values.probes.address -}}
{{- $address = $root.Values.probes.address -}}
{{- else if $ops -}}
{{- $address = printf "http://%s/%s" $ops (index . 1) -}}
{{- end -}}
{{- concat (list "/usr/bin/hallpass" "health" "--address" $address) (index . 2) $root.Values.probes.args | toJson -}}
{{- end -}}
