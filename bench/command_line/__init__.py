"""The `lightning` command line: its help, its configurations, its errors, and the program behind them.

`help`, `signatures`, `configs`, `yaml_text` and `ending` import neither torch nor Lightning.
"""
