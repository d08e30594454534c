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
{{- if or .Values.sidecars (not (include "hallpass.isLoopback" .Values.grpcAddress)) }}yes{{ end -}}
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
