"""The way from a door to a running pod: which container on which node (`places`), and its kubelet (`kubelets`)."""
