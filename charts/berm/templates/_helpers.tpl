{{- define "berm.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "berm.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains (include "berm.name" .) .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "berm.name" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "berm.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "berm.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- /* Selectors can't be changed: name and instance only. */ -}}
{{- define "berm.selectorLabels" -}}
{{ toYaml (dict "app.kubernetes.io/name" (include "berm.name" .) "app.kubernetes.io/instance" .Release.Name) }}
{{- end -}}

{{- /* Others' labels don't take the place of ours. */ -}}
{{- define "berm.labels" -}}
{{- $own := dict "app.kubernetes.io/name" (include "berm.name" .) "app.kubernetes.io/instance" .Release.Name
    "app.kubernetes.io/version" .Chart.AppVersion "app.kubernetes.io/managed-by" .Release.Service
    "app.kubernetes.io/part-of" "berm" "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_") -}}
{{ toYaml (merge $own (default dict .Values.commonLabels)) }}
{{- end -}}

{{- define "berm.image" -}}
{{- $name := .Values.image.repository -}}
{{- if .Values.image.registry -}}{{- $name = printf "%s/%s" (trimSuffix "/" .Values.image.registry) $name -}}{{- end -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $name .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- /* The one folder of the host's configuration that the installer may write to; rows as in agent/node/flavour.c. */ -}}
{{- define "berm.runtimeConfigDir" -}}
{{- $dirs := dict "containerd" "/etc/containerd"
    "k3s" "/var/lib/rancher/k3s/agent/etc/containerd"
    "rke2" "/var/lib/rancher/rke2/agent/etc/containerd"
    "k0s" "/etc/k0s/containerd.d"
    "microk8s" "/var/snap/microk8s/current/args"
    "crio" "/etc/crio/crio.conf.d" -}}
{{- default (get $dirs .Values.install.runtime) .Values.install.configDir -}}
{{- end -}}

{{- define "berm.criSocket" -}}
{{- $sockets := dict "containerd" "/run/containerd/containerd.sock"
    "k3s" "/run/k3s/containerd/containerd.sock"
    "rke2" "/run/k3s/containerd/containerd.sock"
    "k0s" "/run/k0s/containerd.sock"
    "microk8s" "/var/snap/microk8s/common/run/containerd.sock"
    "crio" "/run/crio/crio.sock" -}}
{{- default (get $sockets .Values.install.runtime) .Values.otherPods.socket -}}
{{- end -}}
