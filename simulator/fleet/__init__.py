"""Many engines together: replicas, pools, routers and the clients in front of them."""
