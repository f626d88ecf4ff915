/** A kubeconfig with one cluster, one user and one context, all named `kubeos-lab`. */
export function kubeconfigOf(url: string, ca: string, token: string): string {
  return `apiVersion: v1
kind: Config
clusters:
- name: kubeos-lab
  cluster:
    server: ${url}
    certificate-authority-data: ${Buffer.from(ca).toString('base64')}
users:
- name: kubeos-lab
  user:
    token: ${JSON.stringify(token)}
contexts:
- name: kubeos-lab
  context:
    cluster: kubeos-lab
    user: kubeos-lab
current-context: kubeos-lab
`;
}
