-- Log lines of a project in the order of time, for the logs of all devices.
CREATE INDEX device_logs_by_time ON device_logs (project, device_ts);
